// What Fastify and reply-from in the bundle know as node:http2, which they never use here: loading it takes 4 MB.
module.exports = {
  constants: { NGHTTP2_CANCEL: 8 },
  get connect() {
    return require('node:http2').connect
  },
  get createServer() {
    return require('node:http2').createServer
  },
  get createSecureServer() {
    return require('node:http2').createSecureServer
  },
}
