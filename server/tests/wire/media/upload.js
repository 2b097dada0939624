// Uploads $PHOTO with tus-js-client as it is, and prints where it is.
const fs = require("node:fs");
const tus = require("tus-js-client");

const upload = new tus.Upload(fs.createReadStream(process.env.PHOTO), {
  endpoint: process.env.ENDPOINT,
  headers: { Authorization: process.env.AUTHORIZATION },
  metadata: { filename: "photo.png", filetype: "image/png" },
  uploadSize: fs.statSync(process.env.PHOTO).size,
  chunkSize: 4 * 1024 * 1024,
  // Node offers nothing by itself.
  httpStack: new tus.DefaultHttpStack({ ALPNProtocols: ["http/1.1"] }),
  retryDelays: Array(20).fill(50),
  onError: (error) => {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess: () => console.log(upload.url),
});
upload.start();
