# SPDX-License-Identifier: Apache-2.0
# An output that cannot be written is a failure, never a silent success; a reader that goes away ends nothing.
if ! command -v python3 >/dev/null; then
    echo "skipped because python3 is not installed"
    exit 77
fi
run="-q --runtime virtual --model softmax,kernels=reference --data digits,train=400,test=100 --workers 2 --updates 4"
if ! [ -c /dev/full ]; then
    echo "skipped because there is no /dev/full"
    exit 77
fi
hysgd train $run --log /dev/full >out
echo "log: $?"
hysgd train $run --csv /dev/full >out
echo "csv: $?"
hysgd train $run >/dev/full
echo "standard output: $?"
hysgd list >/dev/full
echo "list: $?"
hysgd list --json >/dev/full
echo "list --json: $?"
hysgd compare $run --policy sync --csv /dev/full >out
echo "compare: $?"
hysgd compare $run --policy sync --csv /dev/full --report report.html >out
echo "compare with a report: $?"
grep -c '</html>' report.html
hysgd train $run >&-
echo "closed: $?"
hysgd train $run --log run.log >&- 2>err
grep -c ended run.log
echo "--- nobody reads standard output:"
python3 - <<'PYTHON'
import os, subprocess
reader, writer = os.pipe()
os.close(reader)
print(subprocess.run(["hysgd", "list"], stdout=writer).returncode)
PYTHON
echo "--- a reader of the log that goes away:"
mkfifo pipe
python3 -c 'import os; os.close(os.open("pipe", os.O_RDONLY))' &
hysgd train -q --runtime virtual --model quadratic,dimension=2 --data none --workers 2 --updates 2000 --log pipe --save run.safetensors >out
echo "$?"
wait
hysgd inspect run.safetensors >out && echo "the checkpoint is whole"
