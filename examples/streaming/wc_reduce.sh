#!/bin/sh
# Word count reducer: sorted "word TAB n" in, "word TAB sum" out.
awk -F '\t' '
    $1 "" != word { if (NR > 1) print word "\t" sum; word = $1; sum = 0 }
    { sum += $2 }
    END { if (NR) print word "\t" sum }'
