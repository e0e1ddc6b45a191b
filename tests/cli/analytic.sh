# SPDX-License-Identifier: Apache-2.0
# Data without samples and a model without accuracy.
run="-q --runtime virtual --model quadratic,noise=0 --data none --workers 2"
hysgd train $run --updates 20 --combine sum --optimizer sgd,rate=0.5 --target loss=0.2
echo "$?"
hysgd train $run --updates 500 --optimizer sgd,rate=1000 >out
echo "diverged: $?"
