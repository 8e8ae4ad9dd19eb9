// Command hello answers on PORT and ends in good order on SIGTERM.
package main

import (
  "context"
  "fmt"
  "log"
  "net/http"
  "os"
  "os/signal"
  "runtime"
  "syscall"
)

func main() {
  port := os.Getenv("PORT")
  if port == "" {
    port = "3000"
  }
  http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
    if r.URL.Path != "/" {
      http.Error(w, "no such page", http.StatusNotFound)
      return
    }
    fmt.Fprintf(w, "Hello from Go %s\n", runtime.Version())
  })
  server := &http.Server{Addr: "0.0.0.0:" + port}
  stopped := make(chan struct{})
  go func() {
    signals := make(chan os.Signal, 1)
    signal.Notify(signals, syscall.SIGTERM)
    <-signals
    server.Shutdown(context.Background())
    close(stopped)
  }()
  log.Printf("listening on %s", server.Addr)
  if err := server.ListenAndServe(); err != http.ErrServerClosed {
    log.Fatal(err)
  }
  <-stopped
}
