"""libmodbus as a PLC for the tests: python libmodbus_server.py PORT LIBRARY."""

import ctypes
import socket
import sys
import threading

SIZE = 500
port, library = int(sys.argv[1]), ctypes.CDLL(sys.argv[2])
library.modbus_new_tcp.restype = ctypes.c_void_p
library.modbus_new_tcp.argtypes = [ctypes.c_char_p, ctypes.c_int]
library.modbus_mapping_new.restype = ctypes.c_void_p
library.modbus_set_socket.argtypes = [ctypes.c_void_p, ctypes.c_int]
library.modbus_receive.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
library.modbus_reply.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]

mapping = library.modbus_mapping_new(SIZE, SIZE, SIZE, SIZE)


def serve(connection: socket.socket) -> None:
    context = library.modbus_new_tcp(b"127.0.0.1", port)
    library.modbus_set_socket(context, connection.fileno())
    request = ctypes.create_string_buffer(260)
    while (length := library.modbus_receive(context, request)) >= 0:
        if length:
            library.modbus_reply(context, request, length, mapping)
    connection.close()


with socket.create_server(("127.0.0.1", port)) as listener:
    while True:
        threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
