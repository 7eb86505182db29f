#!/bin/sh
# Word count reducer: sorted "word TAB n" in, "word TAB sum" out. ($1 "" is text: as numbers, 10 and
# 10.0 would be one word to awk. %.0f has all digits of a sum that some awks print as 3e+09.)
awk -F '\t' '
    function told() { printf "%s\t%.0f\n", word, sum }
    $1 "" != word { if (NR > 1) told(); word = $1; sum = 0 }
    { sum += $2 }
    END { if (NR) told() }'
