document.getElementById('app').textContent = `Hello at ${location.pathname}`;
