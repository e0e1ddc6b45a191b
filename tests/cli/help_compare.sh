# SPDX-License-Identifier: Apache-2.0
# The short help of `hysgd compare`; the full one is longer and ends well.
hysgd compare -h
hysgd compare --help >full || exit
[ "$(wc -l <full)" -gt "$(hysgd compare -h | wc -l)" ] && grep -c '^exit codes:' full
