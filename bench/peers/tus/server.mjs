// @tus/server with @tus/s3-store, as its documentation configures it: node server.mjs PORT
import { S3Store } from '@tus/s3-store'
import { Server } from '@tus/server'

const env = process.env
const datastore = new S3Store({
  partSize: 8 * 1024 * 1024,
  useTags: false,
  s3ClientConfig: {
    bucket: env.S3_BUCKET_NAME,
    region: env.AWS_DEFAULT_REGION,
    endpoint: env.S3_ENDPOINT_URL,
    forcePathStyle: true,
    credentials: {
      accessKeyId: env.AWS_ACCESS_KEY_ID,
      secretAccessKey: env.AWS_SECRET_ACCESS_KEY,
    },
  },
})
const server = new Server({ path: '/uploads', datastore })
server.listen({ host: '127.0.0.1', port: Number(process.argv[2]) })
