# SPDX-License-Identifier: Apache-2.0
# The short help of `hysgd train`; the full one is longer and ends well.
hysgd train -h
hysgd train --help >full || exit
[ "$(wc -l <full)" -gt "$(hysgd train -h | wc -l)" ] && grep -c '^exit codes:' full
