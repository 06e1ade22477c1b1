#!/usr/bin/env bash
# Makes data/kjv.{train,eval}.h5 from the King James text (Debian package bible-kjv), split by book; nothing if they are there.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -f data/kjv.train.h5 ] && [ -f data/kjv.eval.h5 ]; then exit; fi
echo "preparing the King James text"
mkdir -p data
bible -f gen1:1-rev22:21 < /dev/null > data/kjv.txt
build/release/bin/trireme prepare text data/kjv.txt --document-pattern '^([1-3]?[A-Za-z]+)[0-9]+:' \
  --eval-documents Ruth Eccl Jonah John Heb -o data/kjv.h5 --force
