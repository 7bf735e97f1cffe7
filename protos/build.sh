#!/bin/sh
# Generate from the contract, with the tools of the given Python's virtual environment:
# the stubs in gen/, the descriptor set for the gateway's transcoder, and the API pages.
set -eu
cd "$(dirname "$0")/.."
python=$PWD/$1
case $1 in /*) python=$1 ;; esac
PATH=$(dirname "$python"):$PATH
folder_of() {
    "$python" -c "$1"
}

rm -rf gen/sori build/googleapis build/pages build/sori.binpb
mkdir -p gen build/googleapis build/pages
packages=$(folder_of 'import sysconfig; print(sysconfig.get_path("purelib"))')
(cd "$packages" && find google/api google/rpc -name '*.proto') |
    (cd "$packages" && xargs cp --parents -t "$OLDPWD/build/googleapis")

# shellcheck disable=SC2046 (no name has a space)
"$python" -m grpc_tools.protoc -Iprotos -Ibuild/googleapis \
    --python_out=gen --grpc_python_out=gen --mypy_out=quiet:gen --mypy_grpc_out=quiet:gen \
    $(find protos -name '*.proto')
cp protos/sori/service_config.json protos/sori/channel_options.json gen/sori/
buf build -o build/sori.binpb

"$python" -m gateway.openapi > build/pages/openapi.json
swagger_ui=$(folder_of 'import swagger_ui_bundle as it; print(it.swagger_ui_path)')
cp gateway/docs.html gateway/docs.js \
    "$swagger_ui/swagger-ui.css" "$swagger_ui/swagger-ui-bundle.js" build/pages/
