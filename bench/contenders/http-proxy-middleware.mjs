// http-proxy-middleware as it comes, on a plain Node server, with static headers.
import { createServer } from 'node:http'
import { createProxyMiddleware } from 'http-proxy-middleware'

const { port, upstream, headers } = JSON.parse(process.env.BENCH)
const proxy = createProxyMiddleware({ target: upstream, changeOrigin: true, headers })
createServer((request, response) => {
  proxy(request, response, (error) => {
    response.statusCode = 500
    response.end(String(error))
  })
}).listen(port, '127.0.0.1')
