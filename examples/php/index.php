<?php
// Every path that is no file comes here.
header('Content-Type: text/plain; charset=utf-8');
if (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) === '/') {
    echo 'Hello from PHP ' . PHP_VERSION . "\n";
} else {
    http_response_code(404);
    echo "no such page\n";
}
