/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the report as bytes in the library: the page, its scripts, and dygraphs (MIT licence), which is not
 * kept in this repository but taken from where the Makefile found it; where it is not found the report says why it
 * has no charts. Paths start at the repository's root. */

#ifndef HYSGD_DYGRAPHS
#define HYSGD_DYGRAPHS ""
#endif

.macro asset name, path
    .global asset_\name, asset_\name\()_end
    .hidden asset_\name, asset_\name\()_end
asset_\name:
.ifnb \path
    .incbin "\path"
.endif
asset_\name\()_end:
    .byte 0
.endm

    .section .rodata
    asset page, "src/record/report.html"
    asset timeline, "src/record/report_timeline.js"
    asset charts, "src/record/report_charts.js"
    asset script, "src/record/report.js"
    asset dygraphs, HYSGD_DYGRAPHS

    .section .note.GNU-stack, "", %progbits
