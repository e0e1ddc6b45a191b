# SPDX-License-Identifier: Apache-2.0
# Every unknown word is refused with the nearest valid one, and the exit code says wrong usage.
try() {
    hysgd "$@"
    echo "$? hysgd $*"
}
try trian
try xyzzy
try train --wrkers 3
try train --policy treshold
try train --policy threshold,stp=3
try train --optimizer adan
try train --model lenett
try train --data digit
try train --runtime virtal
try train --combine men
try train --runtime virtual --compute constnt
try list polices
try list xyzzy
try help trian
try train -x
try train word
try evaluate
try evaluate one two
try compare --save run.safetensors
