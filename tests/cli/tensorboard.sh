# SPDX-License-Identifier: Apache-2.0
# TensorBoard's files are read by an independent reader; a log gives the same as its run.
reader=$(dirname "$0")/read_tensorboard.py
command -v python3 >/dev/null || { echo "tensorboard skipped because there is no python3"; exit 77; }
run="--runtime virtual --model softmax,kernels=reference --data digits,train=400,test=100 --workers 3 --batch 8 --epochs 3 --policy threshold,step=20 --compute lognormal,mean=0.01"
hysgd train -q $run --log run.hylog --tensorboard board --csv run.csv >out 2>err
if grep -q 'built without' err; then echo "tensorboard skipped because hysgd was built without it"; exit 77; fi
python3 "$reader" board
hysgd export run.hylog --tensorboard again
[ "$(python3 "$reader" board)" = "$(python3 "$reader" again)" ] && echo "a log gives the same"
python3 "$reader" board | grep -o 'test/loss .*' | tr ' ' '\n' | sed -n 's/^[0-9]*:\(...\).*/\1/p' >loss
cut -d, -f8 run.csv | tail -n +2 | cut -c1-3 | cmp - loss && echo "the table has the same losses"
echo "--- refused:"
hysgd export run.hylog --tensorboard run.csv
echo "$?"
hysgd export run.hylog --tensorboard missing/board
echo "$?"
