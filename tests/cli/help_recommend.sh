# SPDX-License-Identifier: Apache-2.0
# The short help of `hysgd recommend`; the full one is longer and ends well.
hysgd recommend -h
hysgd recommend --help >full || exit
[ "$(wc -l <full)" -gt "$(hysgd recommend -h | wc -l)" ] && grep -c '^exit codes:' full
