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
hysgd train -q $run --policy async --epochs 2 --log one --save one.safetensors >out
hysgd train -q $run --policy async --epochs 2 --log two --save two.safetensors >out
cmp one.safetensors two.safetensors && [ -s one ] && tail -n +2 one >a && tail -n +2 two >b && cmp a b && echo "the same"
