// What the bundle knows as undici's HTTP/2 client: loaded with node:http2 when a server speaks it, not at every start.
module.exports = (client, socket) => require('undici/lib/dispatcher/client-h2.js')(client, socket)
