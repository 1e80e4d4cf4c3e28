// @fastify/http-proxy as it comes, with static headers. JavaScript: stripping types would count as its time to start.
import httpProxy from '@fastify/http-proxy'
import { fastify } from 'fastify'

const { port, upstream, headers } = JSON.parse(process.env.BENCH)
const app = fastify({ logger: false })
app.register(httpProxy, {
  upstream,
  replyOptions: { rewriteRequestHeaders: (_request, sent) => ({ ...sent, ...headers }) },
})
await app.listen({ port, host: '127.0.0.1' })
