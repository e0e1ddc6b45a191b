# SPDX-License-Identifier: Apache-2.0
# What export makes of a log is what train writes itself; a log that is cut gives what it has, others are refused.
run="--runtime virtual --model softmax,kernels=reference --data digits,train=400,test=100 --workers 3 --batch 8 --epochs 20 --policy threshold,step=20"
hysgd train -q $run --log run.hylog --csv live.csv >out
hysgd train -q $run --log live.jsonl >out
hysgd export run.hylog --csv run.csv --jsonl run.jsonl --report run.html && cmp live.csv run.csv && echo "the same table"
# Only the names of the files are not the same.
for lines in live.jsonl run.jsonl; do sed 's/"log":"[^"]*"/"log":""/; s/"csv":"[^"]*"/"csv":""/' <$lines >$lines.plain; done
cmp live.jsonl.plain run.jsonl.plain && echo "the same events"
grep -c '<title>' run.html
echo "--- cut in the middle:"
head -c 12000 run.hylog >cut.hylog
# Where blocks end depends on the name of the machine's kernels, which is in the log.
hysgd export cut.hylog --jsonl cut.jsonl --report cut.html 2>err
echo "$?"
sed 's/[0-9]\{3,\}/N/g' err
head -n -1 cut.jsonl | cmp - run.jsonl 2>&1 | sed 's/[0-9].*//'
[ "$(wc -l <cut.jsonl)" -gt 100 ] && tail -n 1 cut.jsonl | grep -o '"reason":"[^"]*"'
echo "--- refused:"
try() {
    hysgd export "$@" && echo "accepted: $*"
    echo "$? hysgd export $*"
}
try run.hylog
try live.jsonl --csv other.csv
try missing.hylog --csv other.csv
try run.hylog --csv same --jsonl same
try run.hylog --csv run.hylog
printf 'HYSGDLOG\2\0\0\0' >later.hylog
try later.hylog --csv other.csv
{ head -c 200 run.hylog; printf 'damage'; tail -c +207 run.hylog; } >damaged.hylog
hysgd export damaged.hylog --csv other.csv 2>&1 | sed 's/[0-9]\{2,\}/N/g'
