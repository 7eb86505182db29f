#!/bin/sh
# Word count mapper: text in, "word TAB 1" out.
tr -s '[:space:]' '\n' | awk 'NF { print $1 "\t1" }'
