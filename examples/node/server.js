// Answers on PORT and ends in good order on SIGTERM: open requests are finished first.
'use strict';
const http = require('node:http');

const port = Number(process.env.PORT || 3000);
const server = http.createServer((request, response) => {
  if (request.url === '/') {
    response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
    response.end(`Hello from Node.js ${process.version}\n`);
  } else {
    response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' });
    response.end('no such page\n');
  }
  console.log(`${request.method} ${request.url} ${response.statusCode}`);
});

process.on('SIGTERM', () => server.close(() => process.exit(0)));
server.listen(port, '0.0.0.0', () => console.log(`listening on ${port}`));
