/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes that assets.S puts into the library. Each text ends before its _end, where there is a zero byte. */
#ifndef HYSGD_RECORD_ASSETS_H
#define HYSGD_RECORD_ASSETS_H

extern const char asset_page[], asset_page_end[];         /* report.html */
extern const char asset_timeline[], asset_timeline_end[]; /* report_timeline.js */
extern const char asset_charts[], asset_charts_end[];     /* report_charts.js */
extern const char asset_script[], asset_script_end[];     /* report.js */
extern const char asset_dygraphs[], asset_dygraphs_end[]; /* the chart library */

#endif
