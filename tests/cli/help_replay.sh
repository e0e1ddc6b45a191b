# SPDX-License-Identifier: Apache-2.0
# The short help of `hysgd replay`; the full one is longer and ends well.
hysgd replay -h
hysgd replay --help >full || exit
[ "$(wc -l <full)" -gt "$(hysgd replay -h | wc -l)" ] && grep -c '^exit codes:' full
