# SPDX-License-Identifier: Apache-2.0
# The first interrupt ends a run with a checkpoint, a summary and exit code 130; a comparison prints what is finished.
# Background jobs of a shell without a terminal ignore interrupts; these must not.
if ! command -v python3 >/dev/null; then
    echo "skipped because python3 is not installed"
    exit 77
fi
start() {
    rm -f err
    python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' hysgd "$@" >out 2>err &
}
data="digits,train=400,test=100"
wait_for() {
    tries=0
    until grep -qs "$1" err || [ $tries -ge 300 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
}
start train --runtime virtual --model softmax,kernels=reference --data $data --epochs 1000000 --save run.safetensors
wait_for epoch
kill -INT $!
wait $!
echo "$?"
grep -c '(interrupted)' out
grep '^hysgd:' err | sed 's/after [0-9.e+]* s/after N s/'
hysgd evaluate run.safetensors | sed -n 1p
start train --runtime threads --workers 2 --model softmax,kernels=reference --data $data --epochs 1000000
wait_for epoch
kill -TERM $!
wait $!
echo "$?"
grep -c '(interrupted)' out
start compare --runtime virtual --model softmax,kernels=reference --data $data --epochs 20 --policy sync --repeat 1000
wait_for 'run 2 of'
kill -INT $!
wait $!
echo "$?"
head -n 1 out | tr -s ' '
grep -c '^sync ' out
grep '^hysgd: interrupted' err | sed 's/[0-9]* of/N of/'
