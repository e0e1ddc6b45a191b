# SPDX-License-Identifier: Apache-2.0
# A run that was stopped and continued ends in the same bytes as one that was not.
run="-q --runtime virtual --model softmax,kernels=reference --data digits,train=400,test=100 --workers 3 --batch 8 --speeds 1,0.7,0.3"
for policy in sync async threshold,step=20; do
    hysgd train $run --policy $policy --optimizer adam --gradients 100 --save whole.safetensors >whole || exit
    hysgd train $run --policy $policy --optimizer adam --gradients 41 --save part.safetensors >part || exit
    hysgd train -q --resume part.safetensors --gradients 100 --save joined.safetensors >joined || exit
    cmp whole.safetensors joined.safetensors && echo "$policy: the same"
done
echo "--- a checkpoint of another run:"
for other in '--workers 4' '--batch 9' '--seed 2' '--policy sync' '--optimizer sgd' '--model lenet' '--combine sum'; do
    hysgd train -q --resume part.safetensors --gradients 100 $other
    echo "$? $other"
done
head -c 3000 part.safetensors >cut.safetensors
hysgd train -q --resume cut.safetensors 2>err
echo "$?"
sed 's/end <= [0-9]*/end <= N/' err
echo "--- a checkpoint with a word that is wrong:"
sed 's/"optimizer":"adam/"optimizer":"adan/' part.safetensors >wrong.safetensors
hysgd train -q --resume wrong.safetensors
echo "$?"
echo "--- outputs that would overwrite the checkpoint:"
cp part.safetensors copy.safetensors
for output in log csv report; do
    hysgd train -q --resume part.safetensors --gradients 100 --$output ./part.safetensors
    echo "$? $output"
done
cmp part.safetensors copy.safetensors && echo "the checkpoint is whole"
