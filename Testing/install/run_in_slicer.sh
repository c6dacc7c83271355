#!/usr/bin/env bash
# Runs the module's self-test in a real Slicer:  SLICER=.../Slicer Testing/install/run_in_slicer.sh [ARGUMENT FOR SLICER...]
#
# MODULE_FOLDER (default: VertebralGrading of this source tree) holds VertebralGrading.py, LIBRARY_FOLDER (default: this
# source tree) is where the library has to come from, RESULT_FOLDER (default: a new one) takes the logs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export MODULE_FOLDER=${MODULE_FOLDER:-$here/../../VertebralGrading}
export LIBRARY_FOLDER=${LIBRARY_FOLDER:-$here/../..}
export RESULT_FOLDER=${RESULT_FOLDER:-$(mktemp -d)}

mkdir -p "$RESULT_FOLDER"
rm -f "$RESULT_FOLDER/passed"

display=()
if [[ $(uname -s) == Linux && -z ${DISPLAY:-} ]]; then
  display=(xvfb-run --auto-servernum "--server-args=-screen 0 1920x1080x24")
fi

# Away from the source tree, so that nothing is found there by accident.
cd "$RESULT_FOLDER"
status=0
${display[@]+"${display[@]}"} "$SLICER" --testing --no-splash --ignore-slicerrc "$@" \
  --additional-module-paths "$MODULE_FOLDER" --python-script "$here/run_in_slicer.py" 2>&1 | tee output.txt || status=$?
[[ ! -f slicer.log ]] || cat slicer.log

# The exit code alone would also be 0 if the script had not been started.
if [[ $status != 0 || ! -f passed ]]; then
  echo "The self-test failed (exit code $status). Logs: $RESULT_FOLDER" >&2
  exit 1
fi
