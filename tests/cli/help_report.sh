# SPDX-License-Identifier: Apache-2.0
# The short help of `hysgd report`; the full one is longer and ends well.
hysgd report -h
hysgd report --help >full || exit
[ "$(wc -l <full)" -gt "$(hysgd report -h | wc -l)" ] && grep -c '^exit codes:' full
