# SPDX-License-Identifier: Apache-2.0
# The short help of `hysgd inspect`; the full one is longer and ends well.
hysgd inspect -h
hysgd inspect --help >full || exit
[ "$(wc -l <full)" -gt "$(hysgd inspect -h | wc -l)" ] && grep -c '^exit codes:' full
