// Node answering by itself: what nothing in Node can be below.
import { createServer } from 'node:http'

const { port } = JSON.parse(process.env.BENCH)
const body = Buffer.from('[]'.padEnd(1024))
createServer((_request, response) => {
  response.writeHead(200, ['Content-Type', 'application/json', 'Content-Length', String(body.length)])
  response.end(body)
}).listen(port, '127.0.0.1')
