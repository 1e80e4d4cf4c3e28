// What the bundle knows as undici: what serves HTTP/2 and the demo, loaded when one of them wants it. The whole of it brings
// fetch, WebSocket, caches and mocks besides; to load even this at every start would cost 9 MB and 20 ms.
module.exports = {
  get Client() {
    require('undici/lib/dispatcher/dispatcher.js').prototype.request = require('undici/lib/api/api-request.js')
    return require('undici/lib/dispatcher/client.js')
  },
  get Pool() {
    return require('undici/lib/dispatcher/pool.js')
  },
}
