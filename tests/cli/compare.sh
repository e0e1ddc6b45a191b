# SPDX-License-Identifier: Apache-2.0
# The table of a comparison, as text for two widths, as CSV and as JSON; diverged runs are part of it.
if ! command -v python3 >/dev/null; then
    echo "skipped because python3 is not installed"
    exit 77
fi
run="-q --runtime virtual --model softmax,kernels=reference --data digits,train=400,test=100 --workers 4 --batch 8 --speeds 3x1,0.25"
hysgd compare $run --deadline 0.5 --policy sync --policy async --policy threshold,step=20,wait=yes --repeat 2 \
    --target accuracy=0.6 --eval-every updates=5 --csv table.csv
cut -d, -f1-8 table.csv
echo "--- the CSV table to standard output, and to a full disk:"
hysgd compare $run --updates 5 --policy sync --csv - | cut -d, -f1-3
[ -e ./- ] || echo "no file of that name"
hysgd compare $run --updates 5 --policy sync --csv /dev/full >out || echo $?
echo "--- narrow:"
COLUMNS=50 hysgd compare $run --updates 5 --policy 'threshold,step=20,increment=1,counter=gradients; async'
hysgd compare $run --updates 5 --policy sync --repeat 2 --json |
    python3 -c 'import json, sys; row, = json.load(sys.stdin); print(row["policy"], row["finished"], row["updates"])'
echo "--- equal terms: the same run alone gives the same numbers"
hysgd compare $run --updates 9 --policy 'sync; async' --json | grep -A 1 '"test_loss"' | grep -o '[0-9.]\{9,\}' >together
for policy in sync async; do hysgd train $run --updates 9 --policy $policy --json; done | sed 's/.*"test_loss":\([0-9.]*\).*/\1/' >alone
wc -l <together && diff together alone && echo "the same"
echo "--- diverging:"
hysgd compare -q --runtime virtual --model quadratic --data none --workers 2 --updates 500 --policy sync --optimizer sgd,rate=1000
