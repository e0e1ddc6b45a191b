# SPDX-License-Identifier: Apache-2.0
# Values that are malformed or out of range name the option and what is expected; nothing is trained.
try() {
    hysgd "$@"
    echo "$? hysgd $*"
}
try train --workers -1
try train --workers 1e9
try train --workers three
try train --workers 1.5
try train --workers
try train --workers --batch 3
try train --batch 0
try train --batch 99999999999999999999
try train --epochs -1
try train --epochs nan
try train --deadline inf
try train --deadline ''
try train --seed -1
try train --target accuracy=1.5
try train --target accuracy
try train --target accuracy=0
try train --target 0.9
try train --goes-on-at-target
try train --goes-on-at-target=maybe
try train --eval-every 0
try train --eval-every updates=0.5
try train --eval-every seconds=1,updates=2
try train --eval-every sometimes
try train --optimizer sgd,rate=-1
try train --policy threshold,step=0
try train --policy threshold,start=5,cap=2
try train --json=maybe
try predict x --count -1
try evaluate x --split middle
