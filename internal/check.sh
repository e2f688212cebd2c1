#!/bin/sh
# Makes the generated files anew in a copy of the tree that has none of them, and fails on any difference to the tree:
# what is missing, what differs, what is left over, and what was never added to git.
set -eu
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT INT TERM
git ls-files --cached --others --exclude-standard -z |
	tar --null --ignore-failed-read --files-from=- -cf - 2>/dev/null | tar -xf - -C "$copy"
rm -rf "$copy/generated"
find "$copy" \( -name 'z*.go' -o -name 'z*.h' \) -delete
(cd "$copy" && go generate ./... >/dev/null)
status=0
for dir in generated backend_cgo backend_purego pcsc internal/cstub internal/part10; do
	diff -ru "$dir" "$copy/$dir" || status=1
done
diff -u README.md "$copy/README.md" || status=1
if [ $status != 0 ]; then
	echo "the generated files are not what the spec gives; run go generate ./... and review the diff" >&2
fi
exit $status
