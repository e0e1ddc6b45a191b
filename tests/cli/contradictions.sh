# SPDX-License-Identifier: Apache-2.0
# What only makes sense together is checked before anything is read or trained.
try() {
    hysgd "$@"
    echo "$? hysgd $*"
}
small="digits,train=100,test=10"
try train --compute constant,mean=1
try train --receive constant,mean=1
try train --apply constant,mean=1
try train --save-every 1
try train --save missing/run.safetensors
try train --log missing/run.log
try train --csv missing/run.csv
try train --report missing/report.html
try compare --csv missing/table.csv
try compare --report missing/report.html
try train --serve 0
try train --serve example.org:80
try compare --serve 8080
try train --save .
try train --log same --csv same
try train --log same --csv ./same
try train --save /dev/null
ln -s loop loop && try train --log loop
rm loop
try compare --csv same --report ./same
try train --resume missing.safetensors
try train --config missing.conf
try train --runtime virtual --model softmax --data $small --workers 101
try train --runtime virtual --model quadratic --data none --target accuracy=0.5
try train --runtime virtual --model softmax --data digits,train=100,test=0 --target accuracy=0.5
try train --runtime virtual --workers 2 --speeds 1,1,1
try train --runtime virtual --batch 32 --micro-batch 5
try train --runtime virtual --batch 32 --micro-batch 64
try train --runtime virtual --workers 2 --lose 2@1
try train --correction dana --optimizer adam
try train --correction dano
try train --correction delay-compensation,mean=1
try train --workers 2 --delay 7,constant,mean=1
try compare --policy 'sync;'
try compare --policy 'sync; asink'
ls -A
echo "--- ranks that the runtime does not have:"
hysgd train --servers 2
echo "$?"
hysgd train --runtime virtual --tolerate 1
hysgd compare --servers 1
echo "--- more memory than any machine has:"
hysgd train --runtime virtual --model quadratic,dimension=20M --data none,samples=100k --workers 60000 2>err
echo "$?"
sed 's/and .* GiB/and N GiB/' err
