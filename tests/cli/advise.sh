# SPDX-License-Identifier: Apache-2.0
# Advice from a table and from a log, as text, as JSON and as a picture; what is malformed is refused with its place.
cat >times.csv <<END
worker,compute,transit
0,0.01,0
1,0.01,0
2,0.03,0.01
END
hysgd advise times.csv --policy 'sync; async; backup; adaptive' --deadline 40 --report advice.html
grep -c '<svg' advice.html
grep -ciE 'https?://|<script|@import' advice.html
hysgd advise times.csv --policy 'sync; async' --deadline 40 --replicates 0 --json | grep -A 3 -E '"(best_by|policy|updates_per_second)"' | tr -s ' \n' ' '
echo
echo "--- a log:"
run="--runtime virtual --model softmax,kernels=reference --data digits,train=400,test=100 --workers 3 --speeds 1,1,0.5 --batch 8"
hysgd train -q $run --epochs 2 --policy async --log run.hylog >out
hysgd advise run.hylog --policy 'async; sync' --replicates 3
hysgd advise -q run.hylog --policy 'async; sync' --true-gradients --target accuracy=0.5 --eval-every updates=5 --replicates 2
echo "--- refused:"
try() {
    hysgd advise "$@" && echo "accepted: $*"
    echo "$? hysgd advise $*"
}
refuse() {
    printf 'worker,compute\n0,1\n%s\n' "$1" >bad.csv
    try bad.csv
}
refuse 0,-1
refuse 0,
refuse 0,soon
refuse 0
refuse 2,1
head -c 60 run.hylog >cut.hylog
try cut.hylog
printf 'HYSGDLOG\2\0\0\0' >later.hylog
try later.hylog
try missing.csv
try times.csv --speeds 1,2
try times.csv --policy snyc
try times.csv --true-gradients
try times.csv --report times.csv
try
