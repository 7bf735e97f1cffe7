// Uploads a file by tus-js-client and prints the seconds it took: node upload.mjs ENDPOINT FILE
import fs from 'node:fs'
import * as tus from 'tus-js-client'

const [endpoint, file] = process.argv.slice(2)
const began = process.hrtime.bigint()
const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint,
  uploadSize: fs.statSync(file).size,
  chunkSize: Number.POSITIVE_INFINITY,
  metadata: { token_id: '1', filename: 'take.wav', filetype: 'audio/wav' },
  onError(error) {
    console.error(String(error))
    process.exit(1)
  },
  onSuccess() {
    console.log(Number(process.hrtime.bigint() - began) / 1e9)
  },
})
upload.start()
