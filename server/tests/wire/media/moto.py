# A bucket service of moto on a free port of the loopback, until standard input ends.
# Moto does not compare what comes with its checksum, as S3 does: that is done here.
# With arguments it speaks TLS, by the certificate and the key in these files, and has a
# bucket of the name that follows.
import base64
import hashlib
import io
import os
import sys
import threading

from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.s3.models import s3_backends
from werkzeug.serving import make_server


class Comparing(DomainDispatcherApplication):
    def __call__(self, environ, start_response):
        wanted = environ.get("HTTP_X_AMZ_CHECKSUM_SHA256")
        if wanted:
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            if base64.b64encode(hashlib.sha256(body).digest()).decode() != wanted:
                start_response("400 Bad Request", [("Content-Type", "application/xml")])
                return [b"<Error><Code>BadDigest</Code></Error>"]
            environ["wsgi.input"] = io.BytesIO(body)
        return super().__call__(environ, start_response)


tls = None
if len(sys.argv) > 1:
    tls = (sys.argv[1], sys.argv[2])
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(sys.argv[3], "us-east-1")
application = Comparing(create_backend_app)
handler = MotoRequestHandler
server = make_server("127.0.0.1", 0, application, True, request_handler=handler, ssl_context=tls)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
os._exit(0)
