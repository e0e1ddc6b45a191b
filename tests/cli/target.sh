# SPDX-License-Identifier: Apache-2.0
# A target that is reached ends the run; one that is not is exit code 4.
run="-q --runtime virtual --model softmax,kernels=reference --data digits,train=400,test=100 --workers 2 --eval-every updates=5"
hysgd train $run --epochs 20 --target accuracy=0.5 --json | grep -o '"reason":"[a-z]*"'
hysgd train $run --epochs 4 --target accuracy=0.5 --goes-on-at-target --json | grep -o -e '"reason":"[a-z]*"' -e '"target_seconds":[0-9.]*'
hysgd train $run --updates 2 --target accuracy=0.99 >out
