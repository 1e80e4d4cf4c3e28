// An API over TLS that speaks HTTP/2 and HTTP/1.1, as the caller likes, and answers 1 KB.
import { readFileSync } from 'node:fs'
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import { join } from 'node:path'

const [port = '0', folder = '.'] = process.argv.slice(2)
const body = Buffer.from('[]'.padEnd(1024))
const tls = {
  key: readFileSync(join(folder, 'server.key')),
  cert: readFileSync(join(folder, 'server.crt')),
  allowHTTP1: true,
}
const answer = (_request: Http2ServerRequest, response: Http2ServerResponse) => {
  response.setHeader('content-type', 'application/json')
  response.setHeader('content-length', body.length)
  response.end(body)
}
createSecureServer(tls, answer).listen(Number(port), '127.0.0.1')
