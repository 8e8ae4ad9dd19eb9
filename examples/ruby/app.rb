# Answers on PORT with the standard library alone, a thread a connection.
require "socket"

$stdout.sync = true
port = Integer(ENV.fetch("PORT", "3000"))
server = TCPServer.new("0.0.0.0", port)
trap("TERM") { exit }
puts "listening on #{port}"

loop do
  Thread.new(server.accept) do |socket|
    request = socket.gets.to_s
    nil until socket.gets.to_s.strip.empty?
    found = request.split[1] == "/"
    body = found ? "Hello from Ruby #{RUBY_VERSION}\n" : "no such page\n"
    socket.write "HTTP/1.1 #{found ? '200 OK' : '404 Not Found'}\r\n" \
                 "Content-Type: text/plain; charset=utf-8\r\n" \
                 "Content-Length: #{body.bytesize}\r\nConnection: close\r\n\r\n#{body}"
  ensure
    socket.close
  end
end
