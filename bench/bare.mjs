// Proxies as they come, which add two fixed headers: node bare.mjs fastify-http-proxy|http-proxy-middleware
import { createServer } from 'node:http'

const { port, upstream, headers } = JSON.parse(process.env.BENCH)
if (process.argv[2] === 'fastify-http-proxy') {
  const [{ default: httpProxy }, { fastify }] = [await import('@fastify/http-proxy'), await import('fastify')]
  const app = fastify({ logger: false })
  const replyOptions = { rewriteRequestHeaders: (_request, sent) => ({ ...sent, ...headers }) }
  app.register(httpProxy, { upstream, replyOptions })
  await app.listen({ port, host: '127.0.0.1' })
} else {
  const { createProxyMiddleware } = await import('http-proxy-middleware')
  const proxy = createProxyMiddleware({ target: upstream, changeOrigin: true, headers })
  createServer((request, response) => {
    proxy(request, response, (error) => {
      response.statusCode = 500
      response.end(String(error))
    })
  }).listen(port, '127.0.0.1')
}
