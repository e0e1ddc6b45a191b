# SPDX-License-Identifier: Apache-2.0
# --dry-run prints the run with every default, and --config reads exactly that back.
hysgd train --runtime virtual --policy smooth-switch,step=30 --workers 4 --dry-run | tee first
hysgd train --config first --dry-run >second && cmp first second && echo "the same again"
hysgd train --runtime virtual --workers 3 --model 'dense 100, relu, dense 10' --data digits,train=1k --target accuracy=0.9 \
    --delay 'half,normal,std=0.25;one,constant,mean=1' --speeds 2x1,0.5 --eval-every 2 --log 'a "b" c ' --dry-run >first
hysgd train --config first --dry-run >second && cmp first second && grep -E '^(model|delay|speeds|target|eval-every|log) ' second
echo "--- what follows the file counts more:"
hysgd train --config first --workers 6 --dry-run | diff first - | grep '^[<>]'
echo "--- a comparison:"
hysgd compare --runtime virtual --policy sync --policy 'async; threshold,step=20' --repeat 3 --seed 7 --dry-run >first
hysgd compare --config first --dry-run >second && cmp first second && grep -E '^(policy|repeat|seed) ' second
