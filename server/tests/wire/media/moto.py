# A bucket service of moto on a free port of the loopback, until standard input ends.
# Moto does not compare what comes with its checksum, as S3 does: that is done here.
import base64
import hashlib
import io
import os
import sys
import threading

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
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


application = Comparing(create_backend_app)
server = make_server("127.0.0.1", 0, application, True, request_handler=MotoRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
os._exit(0)
