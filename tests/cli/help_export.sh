# SPDX-License-Identifier: Apache-2.0
# The short help of `hysgd export`; the full one is longer and ends well.
hysgd export -h
hysgd export --help >full || exit
[ "$(wc -l <full)" -gt "$(hysgd export -h | wc -l)" ] && grep -c '^exit codes:' full
