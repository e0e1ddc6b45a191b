# SPDX-License-Identifier: Apache-2.0
# One report about the logs of several runs: with what the runs were, also where one was cut, and nothing where one is not a log.
run="--runtime virtual --model softmax,kernels=reference --data digits,train=200,test=50 --workers 3 --batch 8 --epochs 2"
for policy in sync async; do hysgd train -q $run --policy $policy --log $policy.hylog >out; done
data() { sed -n 's/.*<script type="application\/json" id="data">\(.*\)<\/script>.*/\1/p' "$1"; }
titles() { data "$1" | grep -o '"title":"[^"]*"\|"source":"[^"]*"'; }
echo "--- one:"
hysgd report async.hylog && titles report.html
echo "--- two of a kind and another:"
cp sync.hylog again.hylog
hysgd report sync.hylog async.hylog again.hylog --out three.html && titles three.html
echo "--- cut:"
head -c "$(($(wc -c <async.hylog) - 300))" async.hylog >cut.hylog
hysgd report sync.hylog cut.hylog --title "a heading" --out cut.html 2>err
echo "$?"
sed 's/[0-9][0-9]*/N/g' err
titles cut.html
echo "--- refused:"
try() {
    hysgd report "$@" && echo "accepted: $*"
    echo "$? hysgd report $*"
}
try
try sync.hylog missing.hylog --out none.html
try sync.hylog out --out none.html
try sync.hylog --out sync.hylog
try sync.hylog async.hylog --out ./async.hylog
try sync.hylog --out missing/report.html
try sync.hylog --out=
try sync.hylog --titel x
try $(for i in $(seq 65); do echo sync.hylog; done) 2>&1 | tail -n 2 | sed 's/ sync.hylog sync.hylog.*//'
ls none.html 2>/dev/null
cmp sync.hylog again.hylog && echo "the logs are as they were"
