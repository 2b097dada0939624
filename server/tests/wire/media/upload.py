# Uploads $PHOTO with tuspy as it is, and prints where it is.
import os

from tusclient.client import TusClient

client = TusClient(os.environ["ENDPOINT"], headers={"Authorization": os.environ["AUTHORIZATION"]})
uploader = client.uploader(
    os.environ["PHOTO"],
    chunk_size=1024 * 1024,
    metadata={"filename": "photo.png"},
    retries=20,
    retry_delay=0,
    upload_checksum=True,
)
uploader.upload()
print(uploader.url)
