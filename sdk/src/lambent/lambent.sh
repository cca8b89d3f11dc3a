#!/bin/sh
# Starts a Python function traced. As /opt/lambent in a layer: AWS_LAMBDA_EXEC_WRAPPER=/opt/lambent. In an image: before
# the command, ENTRYPOINT ["/opt/lambent", "python", "-m", "awslambdaric"].
own=lambent.wrapper.handler
for last do :; done
name=${_HANDLER:-$last}
if [ "$name" != "$own" ]; then
  for argument do
    shift
    [ "$argument" = "$name" ] && argument=$own
    set -- "$@" "$argument"
  done
  export LAMBENT_HANDLER="$name" _HANDLER="$own"
fi
exec "$@"
