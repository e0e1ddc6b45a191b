# SPDX-License-Identifier: Apache-2.0
# A short run in modelled time is the same to the last digit, today and tomorrow.
run="--runtime virtual --model softmax,kernels=reference --data digits,train=400,test=100 --workers 4 --batch 8 --speeds 3x1,0.5"
short() { sed 's/\([0-9]\.[0-9]\{4\}\)[0-9]*/\1/g'; } # what the last digits are is the mathematical library's business
hysgd train -q $run --policy threshold,step=10 --gradients 60 --csv run.csv
short <run.csv
hysgd train -q $run --policy threshold,step=10 --gradients 60 --json | short
echo "--- progress:"
hysgd train $run --epochs 2 2>&1 >out
echo "--- twice the same:"
for place in one two; do
    mkdir $place
    (cd $place && hysgd train -q $run --policy async --epochs 2 --log run.hylog --save run.safetensors >out)
    (cd $place && hysgd train -q $run --policy async --epochs 2 --log run.jsonl >out)
done
cmp one/run.safetensors two/run.safetensors && [ -s one/run.hylog ] && cmp one/run.hylog two/run.hylog &&
    cmp one/run.jsonl two/run.jsonl && echo "the same"
wc -l <one/run.jsonl
